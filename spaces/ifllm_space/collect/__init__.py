"""Taking part: from consent to thanks.

consent  the versioned text, and the bands that a participant may choose from
flow     what the page may ask of the server, one function for each step
quota    how many answers a day
tab      the Gradio tabs around static/record/collect.js
"""
