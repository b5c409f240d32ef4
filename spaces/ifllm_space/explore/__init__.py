"""Explore: what a reader looked at, character by character and moment by moment.

`first_screen` chooses the turn that the page opens with, `turn_view` makes of a turn what the page
draws, `usual` sets its features beside this reader's and everyone's usual values, `tab` builds the
pickers.
"""
