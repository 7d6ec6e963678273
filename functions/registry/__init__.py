"""The registry: what the functions share.

- `domain`: parsing, rules and documents. Values in, values out, no clock and no IO.
- `dynamodb`: the stores. No other package speaks to DynamoDB.
- `aws`: clients of ECS and of other AWS services.
- `registration` and `publishing`: what the functions do alike with them.
"""
