"""Three browser engines behind one set of hands: what a test does is written once.

* `browser`: what a test may do with a page, in the actions of W3C WebDriver
* `chromium` by Playwright, `firefox` by WebDriver BiDi, `webkit` by WebKitGTK's WebDriver
"""
