"""Other people's programs on the admin REST API; the program is scripts/restcheck."""
