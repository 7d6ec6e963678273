"""The wire: codecs for HTTP/1.1 and HTTP/2, and the messages that they make. Values in, values out.

- head: a request or an answer without its body; what belongs to one connection is not in it
- end: the end of a message, with its trailers
- event: a head, a piece of a body or an end, as a reader or the codec returns it
- reader, writer: bytes to events and events to bytes, for HTTP/1.1
- codec: both in one, with the streams, for HTTP/2
- field kind: what a field means to a proxy
"""
