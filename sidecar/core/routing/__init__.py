"""Where a request goes: clusters, endpoints, balancing, retries, outlier detection, policies."""
