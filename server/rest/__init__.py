"""The admin REST API: the hosted original's dialect over HTTP, for the operator's programs."""
