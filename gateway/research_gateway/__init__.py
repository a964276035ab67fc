"""The gateway: one endpoint over both servers, with audit, error boundary, scope and retry."""
