"""The wire: codecs for HTTP/1.1 and HTTP/2, and the messages that they make. Values in, values out."""
