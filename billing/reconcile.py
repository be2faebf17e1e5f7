"""Recomputes the books from their rows. What it finds is named to the nano-dollar."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db import connection, transaction

CHECKS: Final[dict[str, str]] = {
    "balance is not the sum of its transfers": """
        SELECT c.account_id, c.account_id, coalesce(t.total, 0), c.balance_nanousd FROM billing_creditaccount c LEFT JOIN (
            SELECT account_id, sum(CASE WHEN credit = 'customer' THEN amount_nanousd ELSE -amount_nanousd END) AS total
            FROM billing_transfer GROUP BY account_id) t USING (account_id)
        WHERE c.balance_nanousd <> coalesce(t.total, 0)""",
    "held is not the sum of its pending holds": """
        SELECT c.account_id, c.account_id, coalesce(h.total, 0), c.held_nanousd FROM billing_creditaccount c LEFT JOIN (
            SELECT account_id, sum(amount_nanousd) AS total FROM billing_hold WHERE status = 'pending'
            GROUP BY account_id) h USING (account_id)
        WHERE c.held_nanousd <> coalesce(h.total, 0)""",
    "spent of a key is not the sum of its calls' charges": """
        SELECT k.account_id, k.id, coalesce(h.total, 0), k.spent_nanousd FROM apikeys_apikey k LEFT JOIN (
            SELECT account_id, key_id, sum(charged_nanousd) AS total FROM (
                SELECT account_id, unnest(key_ids) AS key_id, charged_nanousd FROM billing_hold WHERE charged_nanousd > 0) each
            GROUP BY account_id, key_id) h ON h.account_id = k.account_id AND h.key_id = k.id
        WHERE k.spent_nanousd <> coalesce(h.total, 0)""",
    "held of a key is not the sum of its pending holds": """
        SELECT k.account_id, k.id, coalesce(h.total, 0), k.held_nanousd FROM apikeys_apikey k LEFT JOIN (
            SELECT account_id, key_id, sum(amount_nanousd) AS total FROM (
                SELECT account_id, unnest(key_ids) AS key_id, amount_nanousd FROM billing_hold WHERE status = 'pending') each
            GROUP BY account_id, key_id) h ON h.account_id = k.account_id AND h.key_id = k.id
        WHERE k.held_nanousd <> coalesce(h.total, 0)""",
    "a hold's charge is not its transfer": """
        SELECT h.account_id, h.id, h.charged_nanousd, coalesce(t.total, 0) FROM billing_hold h LEFT JOIN (
            SELECT account_id, hold_id, sum(amount_nanousd) AS total FROM billing_transfer WHERE code = 'charge'
            GROUP BY account_id, hold_id) t ON t.account_id = h.account_id AND t.hold_id = h.id
        WHERE h.charged_nanousd <> coalesce(t.total, 0)""",
    "a charge has no call": """
        SELECT account_id, id, 0, amount_nanousd FROM billing_transfer WHERE code = 'charge' AND hold_id IS NULL""",
    "a transfer and its reference do not name each other": """
        SELECT t.account_id, t.id, t.amount_nanousd, 0 FROM billing_transfer t LEFT JOIN billing_transferreference r
            ON r.account_id = t.account_id AND r.reference = t.reference AND r.transfer_id = t.id
        WHERE r.transfer_id IS NULL""",
    "a reference names a transfer of another reference": """
        SELECT r.account_id, r.transfer_id, 0, coalesce(t.amount_nanousd, 0) FROM billing_transferreference r
        LEFT JOIN billing_transfer t ON t.account_id = r.account_id AND t.id = r.transfer_id AND t.reference = r.reference
        WHERE t.id IS NULL""",
    "a transfer does not start from the balance that another left": """
        WITH moves AS (
            SELECT account_id, id, CASE WHEN credit = 'customer' THEN amount_nanousd ELSE -amount_nanousd END AS moved,
                balance_after_nanousd AS after FROM billing_transfer),
        ends AS (
            SELECT account_id, id, after - moved AS value, 1 AS side FROM moves
            UNION ALL SELECT account_id, account_id, sum(moved), 1 FROM moves GROUP BY account_id
            UNION ALL SELECT account_id, id, after, -1 FROM moves
            UNION ALL SELECT DISTINCT account_id, account_id, 0, -1 FROM moves),
        loose AS (
            SELECT account_id, value, sum(side) AS excess, array_agg(id) FILTER (WHERE side = 1) AS ids
            FROM ends GROUP BY account_id, value HAVING sum(side) <> 0),
        ranked AS (
            SELECT account_id, value, ids, sign(excess) AS side,
                row_number() OVER (PARTITION BY account_id, sign(excess) ORDER BY value) AS rank
            FROM loose, generate_series(1, abs(excess)))
        SELECT s.account_id, s.ids[1], l.value, s.value FROM ranked s
        JOIN ranked l ON l.account_id = s.account_id AND l.rank = s.rank AND l.side = -1
        WHERE s.side = 1""",
    "a top-up that succeeded is not its transfer": """
        SELECT u.account_id, u.id, u.amount_nanousd, coalesce(t.amount_nanousd, 0) FROM billing_topup u
        LEFT JOIN billing_transfer t ON t.account_id = u.account_id AND t.code = 'topup' AND t.reference = 'topup:' || u.id
        WHERE CASE WHEN u.status = 'succeeded' THEN u.amount_nanousd ELSE 0 END <> coalesce(t.amount_nanousd, 0)""",
    "what was refunded of a top-up is not its transfer": """
        SELECT coalesce(u.account_id, t.account_id), coalesce(u.id, t.id), coalesce(u.refunded_nanousd, 0),
            CASE WHEN t.credit = u.method OR u.id IS NULL THEN coalesce(t.amount_nanousd, 0) ELSE 0 END
        FROM billing_topup u FULL JOIN (SELECT * FROM billing_transfer WHERE code = 'refund') t
            ON t.account_id = u.account_id AND t.reference = 'refund:' || u.id
        WHERE coalesce(u.refunded_nanousd, 0)
            <> CASE WHEN t.credit = u.method OR u.id IS NULL THEN coalesce(t.amount_nanousd, 0) ELSE 0 END""",
}

"""Each answers account, row, what was expected and what stands there. The chain of balances is checked without an order, which
neither ids nor times of concurrent transfers give: it starts at zero and ends at the sum of all, and between them every balance
that transfers start from is one that others left, as many times."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What the rows say (`expected_nanousd`) and what stands there (`found_nanousd`)."""

    what: str
    account_id: UUID
    row_id: UUID
    expected_nanousd: int
    found_nanousd: int


def differences() -> list[Difference]:
    """Every difference in the books, all read from one snapshot, so that it is right beside running traffic."""
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        found = []
        for what, sql in CHECKS.items():
            cursor.execute(sql)
            found += [
                Difference(what, account_id, row_id, int(expected), int(stands))
                for account_id, row_id, expected, stands in cursor.fetchall()
            ]
    return found
