"""One request's way: gates, slice, decision, commit, reply; in terms of ports."""
