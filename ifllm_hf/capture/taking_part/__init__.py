"""Taking part: from consent to thanks.

consent    the versioned text, and the bands that a participant may choose from
notice, notices/
           the same on pages that are not ours, in the reader's language
responder  what answers questions, as far as it is known here
page_turn  a turn whose answers the page has itself
flow       what the page may ask of the server, one function for each step
quota      how many answers a day
words      what a participant is told of what went wrong
completion
           the code that a panel pays for, and its list for the operator
"""
