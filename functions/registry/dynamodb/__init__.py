"""The stores: the only package that speaks to DynamoDB."""
