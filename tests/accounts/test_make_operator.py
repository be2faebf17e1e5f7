import io
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from accounts import addresses, wallets
from accounts.models import User, Wallet
from tests.accounts import wallet

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("make_operator", *arguments, stdout=out)
    return out.getvalue()


class TestMakeOperator:
    def test_opens_the_account_of_a_new_wallet_as_staff(self) -> None:
        signer = wallet.create()
        assert signer.address in run(signer.address.lower())
        account = Wallet.objects.get(address=signer.address.lower()).account
        assert (account.is_staff, account.is_superuser) == (True, True)

    def test_raises_the_account_a_wallet_has_and_may_be_repeated(self) -> None:
        signer = wallet.create()
        account = wallets.find_or_open(address=addresses.parse(signer.address)).account
        assert not account.is_staff
        run(signer.address)
        run(signer.address)
        account.refresh_from_db()
        assert (account.is_staff, account.is_superuser) == (True, True)

    @pytest.mark.parametrize("role", ["support", "finance", "admin"])
    def test_gives_a_role_instead_of_everything(self, role: str) -> None:
        signer = wallet.create()
        assert f"group {role}" in run(signer.address, "--group", role)
        account = Wallet.objects.get(address=signer.address.lower()).account
        assert (account.is_staff, account.is_superuser) == (True, False)
        assert [group.name for group in account.groups.all()] == [role]

    def test_replaces_the_role_an_operator_has(self) -> None:
        User.objects.create_superuser("another")
        signer = wallet.create()
        for arguments in ([], ["--group", "finance"], ["--group", "support"]):
            run(signer.address, *arguments)
        account = Wallet.objects.get(address=signer.address.lower()).account
        assert not account.is_superuser
        assert [group.name for group in account.groups.all()] == ["support"]

    def test_does_not_take_everything_from_the_last_superuser(self) -> None:
        User.objects.filter(is_superuser=True).update(is_superuser=False)
        signer = wallet.create()
        run(signer.address)
        with pytest.raises(CommandError, match="last superuser") as caught:
            run(signer.address, "--group", "support")
        assert caught.value.returncode == 1
        assert Wallet.objects.get(address=signer.address.lower()).account.is_superuser

    def test_cannot_raise_a_closed_account(self) -> None:
        signer = wallet.create()
        account = wallets.find_or_open(address=addresses.parse(signer.address)).account
        User.objects.filter(pk=account.pk).update(is_active=False)
        with pytest.raises(CommandError, match="nothing was changed") as caught:
            run(signer.address)
        assert caught.value.returncode == 1
        account.refresh_from_db()
        assert not account.is_staff

    @pytest.mark.parametrize("address", ["0x12", "", "alice", "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed"])
    def test_says_what_is_wrong_with_a_bad_address(self, address: str) -> None:
        before = User.objects.count()
        with pytest.raises(CommandError, match=r"0x and 40 hex digits|EIP-55") as caught:
            run(address)
        assert caught.value.returncode == 2
        assert User.objects.count() == before

    @pytest.mark.parametrize("arguments", [[], ["0x12"], ["0x" + "ab" * 20, "--group", "address-book"]])
    def test_ends_with_status_2_on_wrong_usage(self, arguments: list[str]) -> None:
        done = subprocess.run(
            [sys.executable, "manage.py", "make_operator", *arguments],
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
            cwd=settings.BASE_DIR,
        )
        assert done.returncode == 2
        assert "address" in done.stderr.lower()
        assert "Traceback" not in done.stderr
