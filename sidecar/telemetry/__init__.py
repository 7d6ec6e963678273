"""What operators see: metrics, the access log and traces.

- recorder, observation: who makes records of requests, and the one that stands beside one request
- sink: where metrics go, to CloudWatch as calls or as lines of EMF
- exporter: where finished spans go
- output: lines on stdout, dropped rather than waited for
"""
