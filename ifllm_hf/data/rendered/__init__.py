"""What a page shows of an answer's Markdown, and where each shown character stands in it.

* `markdown_source`: our own renderer; every visible run of its HTML knows its place
* `page_text`: the text of a page as pages of any kind count it: without blanks, with its hash
* `page_alignment`: offsets into a page's text become offsets into the Markdown, or a reason
"""
