import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, transaction
from django.urls import reverse
from django.utils import timezone

from accounts import addresses
from accounts.models import User, Wallet
from tests import world
from tests.accounts import people
from tests.accounts.people import Person, log

pytestmark = pytest.mark.django_db

LIST = "/admin/admin/logentry/"


def entry(operator: User, row: Any, said: str = "Something.") -> LogEntry:
    LogEntry.objects.log_actions(operator.pk, [row], CHANGE, said)
    return LogEntry.objects.latest("id")


def listed(person: Person, **query: str) -> list[LogEntry]:
    answer = person.browser.get(LIST, query)
    assert answer.status_code == 200
    return list(answer.context["cl"].result_list)


@pytest.fixture
def boss() -> Person:
    return people.superuser()


class TestList:
    def test_says_who_did_what_to_what(self, boss: Person) -> None:
        Wallet.objects.create(account=boss.account, address="0x" + "ab" * 20)
        key = world.key(world.account(), name="batch")
        entry(boss.account, key, "Frozen. Reason: leaked")
        page = boss.browser.get(LIST).content.decode()
        assert addresses.checksum(addresses.parse("0x" + "ab" * 20)) in page
        assert reverse("admin:apikeys_apikey_change", args=[key.pk]) in page
        assert "Frozen. Reason: leaked" in page

    def test_is_newest_first(self, boss: Person) -> None:
        account = User.objects.create_user()
        made = [entry(boss.account, account, f"Step {number}.") for number in range(3)]
        assert listed(boss)[:3] == made[::-1]

    def test_is_filtered_by_operator_kind_and_day(self, boss: Person) -> None:
        other, account = people.superuser(), User.objects.create_user()
        key = world.key(account)
        mine, theirs = entry(boss.account, account), entry(other.account, key)
        assert listed(boss, user__id__exact=str(other.account.pk)) == [theirs]
        kind = ContentType.objects.get_for_model(User)
        assert mine in listed(boss, kind=str(kind.pk))
        assert theirs not in listed(boss, kind=str(kind.pk))
        today = timezone.now().date()
        assert {mine, theirs} <= set(listed(boss, action_time__gte=f"{today} 00:00:00+00:00"))
        assert listed(boss, action_time__gte=f"{today + timedelta(days=1)} 00:00:00+00:00") == []

    @pytest.mark.parametrize("query", [{"user__id__exact": "x"}, {"kind": "x"}, {"kind": "9" * 30}, {"q": "'"}])
    def test_takes_anything(self, boss: Person, query: dict[str, str]) -> None:
        entry(boss.account, boss.account)
        assert listed(boss, **query) == []

    def test_is_searched_by_the_id_of_the_object(self, boss: Person) -> None:
        account = User.objects.create_user()
        wanted = entry(boss.account, account)
        entry(boss.account, boss.account)
        assert listed(boss, q=str(account.pk)) == [wanted]

    def test_names_operators_to_choose_from_but_no_customers(self, boss: Person) -> None:
        customer = people.customer().account
        page = boss.browser.get(LIST).content.decode()
        assert f"user__id__exact={boss.account.pk}" in page
        assert str(customer.pk) not in page


class TestNobody:
    def test_changes_or_deletes_an_entry(self, boss: Person) -> None:
        row = entry(boss.account, boss.account)
        for page, body in (("change", {"change_message": "x"}), ("delete", {"post": "yes"})):
            url = reverse(f"admin:admin_logentry_{page}", args=[row.pk])
            assert boss.browser.post(url, body).status_code == 403
        choice = {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"}
        boss.browser.post(LIST, choice)
        assert boss.browser.get(reverse("admin:admin_logentry_add")).status_code == 403
        assert LogEntry.objects.get(pk=row.pk).change_message == "Something."

    def test_does_so_with_sql_either(self, boss: Person) -> None:
        row = entry(boss.account, boss.account)
        for act in (
            lambda: LogEntry.objects.filter(pk=row.pk).update(change_message="nothing happened"),
            lambda: LogEntry.objects.filter(pk=row.pk).delete(),
            lambda: User.objects.filter(pk=boss.account.pk).delete(),
        ):
            with pytest.raises(DatabaseError, match="only added to"), transaction.atomic():
                act()
        assert LogEntry.objects.get(pk=row.pk).change_message == "Something."

    def test_is_in_the_way_of_forgetting_a_kind_of_object(self, boss: Person) -> None:
        kind = ContentType.objects.create(app_label="billing", model="gone")
        row = LogEntry.objects.create(user=boss.account, content_type=kind, object_id="1", action_flag=ADDITION)
        kind.delete()
        assert LogEntry.objects.get(pk=row.pk).content_type is None
        assert boss.browser.get(LIST).status_code == 200


class TestForms:
    """A saved form says what each field was and became."""

    def save(self, boss: Person, account: User, **fields: str) -> str:
        sizes = {"wallets-TOTAL_FORMS": "0", "wallets-INITIAL_FORMS": "0"}
        body = {"username": account.username or "", "email": account.email, "is_active": "on", **sizes, **fields}
        url = reverse("admin:accounts_user_change", args=[account.pk])
        assert boss.browser.post(url, body).status_code == 302
        return log(account)[-1][1]

    def test_of_an_account(self, boss: Person) -> None:
        account = User.objects.create_user(email="old@example.com")
        said = self.save(boss, account, email="new@example.com")
        assert "“old@example.com”" in said
        assert "“new@example.com”" in said

    def test_of_rights(self, boss: Person) -> None:
        account = User.objects.create_user()
        said = self.save(boss, account, is_staff="on", groups=str(Group.objects.get(name="finance").pk))
        assert re.search(r"may open the admin from no to yes", said)
        assert re.search(r"groups from none to finance", said)

    def test_of_nothing(self, boss: Person) -> None:
        assert self.save(boss, User.objects.create_user()) == "Saved without a change."
