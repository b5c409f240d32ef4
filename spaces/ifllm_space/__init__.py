"""The rooms of the Space, each importing only those above it.

settings   what an operator sets
same_page, path_prefix
           what a proxy makes of hosts and paths
operator   who that is
page_numbers
           numbers as pages draw them
demo_data  which turns are shown, and where they come from; pickers: the lists to choose one
responders, markdown_source, fetch_webgazer
           who answers, how answers are shown, the optional webcam
explore/   what a reader looked at
score/     what a small reward model says, with and without behaviour
server/    what stores a session
collect/   taking part, from consent to thanks
status_tab how the collection stands, for the operator
shell      the web application and its tabs

Beside them static/: scripts and styles of the pages, plain ES modules; record/ is taking part and
the recorder, explore/ and score/ are the views, what they share lies beside.
"""
