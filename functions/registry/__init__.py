"""The registry: what the functions share.

`events`, `definition`, `rules` and `snapshot` are pure: values in, values out, no clock and no IO.
`models` and `store` are the only modules that speak to DynamoDB.
"""
