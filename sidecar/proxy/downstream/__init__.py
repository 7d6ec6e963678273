"""The side of the clients: connections that were accepted."""
