"""The operator's view of the money. Ledger rows are read, never written: every change goes through the domain modules."""

from billing.admin import credit, holds, payments, records, routing, transfers

__all__ = ["credit", "holds", "payments", "records", "routing", "transfers"]
