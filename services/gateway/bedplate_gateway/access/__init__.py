"""Who may do what: the project's `auth.path` on every route and socket."""
