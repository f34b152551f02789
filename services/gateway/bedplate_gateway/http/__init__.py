"""The rim to HTTP: parse, call one verb, translate. The only place that knows Starlette."""
