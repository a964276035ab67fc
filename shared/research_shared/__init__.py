"""What the servers and the gateway share: errors, settings, roots, the document library, retry, logging."""
