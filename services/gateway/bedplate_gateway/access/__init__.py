"""Who may do what: the project's `auth.path` on every route and socket.

Cast: `Authentication` makes a `Caller` of a request, once, before anything else happens. A `Rule`
names what a route needs; `Handlers` choose the project's handler for it, which refuses, or answers
a `Filter`. An `Access` is one caller in one request: verbs take it as `by`, ask it with what is to
be written or searched (the handler may change that), and narrow or judge by the filter.

Promises: a route without a rule, and one whose verb did not ask for its rule, is refused. What is
foreign is answered as what is not there. Where nothing is configured `by` is `FREE`, which answers
yes and costs a method call. The client cannot say who it is: the caller comes from here alone.

Not promised: a stream that was opened goes on although its thread is given to somebody else.
"""
