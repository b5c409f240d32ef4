"""The rooms of the Space, each importing only those above it; what records is `ifllm_hf.capture`.

page_numbers
           numbers as pages draw them
demo_data  which turns are shown, and where they come from; pickers: the lists to choose one
responders who answers
explore/   what a reader looked at
score/     what a small reward model says, with and without behaviour
take_part_tab, status_tab
           taking part, from consent to thanks; how the collection stands, for the operator
shell      the web application and its tabs

Beside them static/: scripts and styles of the pages, plain ES modules; explore/ and score/ are the
views, what they share lies beside.
"""
