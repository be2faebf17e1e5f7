"""How an operator's lists find what belongs to an account, each way by an index."""

from collections.abc import Collection
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
    return _short(account.pk, account.username, _first_address(account))


def short_labels(account_ids: Collection[UUID]) -> dict[UUID, str]:
    """`short_label` of each of these accounts, in one query; of one that is not there, its shortened id."""
    newest_first = User.objects.filter(pk__in=account_ids).order_by("-wallets__created_at")
    found = newest_first.values_list("pk", "username", "wallets__address")
    labels = {
        pk: _short(pk, name, addresses.checksum(Address(address)) if address else "") for pk, name, address in found
    }
    return {pk: labels.get(pk) or _short(pk) for pk in account_ids}


def _short(pk: UUID, username: str | None = None, address: str = "") -> str:
    if username:
        return username
    return f"{address[:6]}…{address[-4:]}" if address else f"…{str(pk)[-8:]}"


def _first_address(account: User) -> str:
    wallets = sorted(account.wallets.all(), key=lambda wallet: wallet.created_at)
    return addresses.checksum(Address(wallets[0].address)) if wallets else ""
