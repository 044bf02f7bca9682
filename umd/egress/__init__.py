"""The only way out for a worker and for a webhook: the proxy, the resolver, the verdict on every address."""
