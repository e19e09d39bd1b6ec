"""The embedded host and upstream: what newcomers, rehearsals and tests run instead of sub2api and a provider.

`host` speaks sub2api's dialect, its delays and oddities included; `upstream` answers like OpenAI and fails as told.
Nothing here is a double of our own code: a driver talks to it over HTTP exactly as it talks to the real server.
This room imports nothing else of ours except `reconciler.errors`.
"""
