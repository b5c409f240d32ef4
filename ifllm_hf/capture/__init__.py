"""What records people in a browser: the recorder, and the server that stores what it sends.

settings   what an operator sets
same_page, path_prefix
           what a proxy makes of hosts and paths
operator   who that is
server/    what stores a session: routes, quotas, withdrawal, packing, status
taking_part/
           consent and all steps after it, as a page asks for them
page_files, static/
           what a browser loads; the recorder is `static/record/`
exported_messages
           the texts of a chat page from its own export, for the sessions that read them
fetch_webgazer
           the optional webcam, which comes from elsewhere

Nothing here needs Gradio or torch. What pushes sessions to the Hub is handed in by who starts a
server (`server/pushing.py`).
"""
