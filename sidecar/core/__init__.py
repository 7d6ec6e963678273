"""The proxy's rules: values in, values out.

Nothing in this package reads a socket, a clock or a file, and nothing logs. Time is a float of seconds that
the caller passes as `now`; randomness is a number that the caller passes too. So every rule is tested with
plain data, and the package compiles.
"""
