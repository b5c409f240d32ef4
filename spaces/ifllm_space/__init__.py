"""The rooms of the Space.

shell      the web application and its tabs
demo_data  which turns are shown, and where they come from
explore/   what a reader looked at
score/     what a small reward model says, with and without behaviour
static/    scripts and styles of the pages, plain ES modules
"""
