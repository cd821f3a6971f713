"""`labmon dashboard`: the web pages, and who may see them."""
