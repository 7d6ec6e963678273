"""One request and its answer, whatever protocols its two sides speak.

- exchange: the request on its way, over all attempts
- attempt: one try, on one endpoint
- deadline: how long all of it may take
- request body: what has come behind the head, kept while another attempt may need it
- tunnel: what an exchange becomes after 101
"""
