"""How an operator's lists find what belongs to an account, each way by an index."""

from uuid import UUID

from accounts import addresses
from accounts.addresses import ADDRESS, Address
from accounts.models import User, Wallet
from faces.lib.ids import uuid_of

SHORTEST_PREFIX = 6
MOST_FOUND = 100


def account_ids(term: str) -> list[UUID]:
    """The accounts a search term names: by id, by a wallet's address, or by at least the first four digits of one."""
    identifier = uuid_of(term)
    if identifier is not None:
        return [identifier]
    prefix = term.lower()
    if not prefix.startswith("0x") or not SHORTEST_PREFIX <= len(prefix) <= 42:
        return []
    wallets = Wallet.objects.filter(**{"address" if ADDRESS.fullmatch(prefix) else "address__startswith": prefix})
    return list(wallets.values_list("account_id", flat=True)[:MOST_FOUND])


def label(account: User) -> str:
    """What an operator calls an account: its user name, its first wallet, or its id. Reads the wallets."""
    return account.username or _first_address(account) or str(account.pk)


def short_label(account: User) -> str:
    """As `label`, for lists: `0x8f3C…41bE` of a wallet, and `…0192f0c0` of an id, whose beginning is only its time."""
    if account.username:
        return account.username
    address = _first_address(account)
    return f"{address[:6]}…{address[-4:]}" if address else f"…{str(account.pk)[-8:]}"


def _first_address(account: User) -> str:
    wallets = sorted(account.wallets.all(), key=lambda wallet: wallet.created_at)
    return addresses.checksum(Address(wallets[0].address)) if wallets else ""
