"""The side of the endpoints: destinations, pools, connections to endpoints, health checks."""
