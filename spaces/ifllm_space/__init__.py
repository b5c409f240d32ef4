"""The rooms of the Space.

shell      the web application and its tabs
demo_data  which turns are shown, and where they come from
settings   what an operator sets
responders, markdown_source, fetch_webgazer
           who answers, how answers are shown, the optional webcam
explore/   what a reader looked at
score/     what a small reward model says, with and without behaviour
collect/   taking part, from consent to thanks
server/    what stores a session
static/    scripts and styles of the pages, plain ES modules
"""
