"""One request and its answer, whatever protocols its two sides speak.

- exchange: the request on its way, over all attempts
- attempt: one try, on one endpoint, and what it says of that endpoint
- retries: whether another attempt follows a failed one
- final answer: the one that the client gets, and how it is counted
- deadline: how long all of it may take
- request body: what has come behind the head, kept while another attempt may need it
- tunnel: what an exchange becomes after 101
"""
