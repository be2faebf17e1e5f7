"""The page of one key: why does it (not) work, and what did it cost?"""

from typing import Final
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from accounts.sessions import account_of, signed_in
from apikeys.forms import KeyForm
from apikeys.models import MAX_LEVELS, ApiKey
from apikeys.standing import Standing
from billing import calls, charts, days, usage

MOST_CHILDREN: Final = 50


@signed_in
@require_GET
def key(request: HttpRequest, key_id: UUID) -> HttpResponse:
    account_id = account_of(request).pk
    found = ApiKey.objects.filter(account_id=account_id, id=key_id, revoked_at__isnull=True).first()
    if found is None:
        raise Http404
    above = {row.id: row for row in ApiKey.objects.filter(account_id=account_id, id__in=found.ancestor_ids)}
    standing = Standing((*(above[ancestor] for ancestor in found.ancestor_ids), found))
    span = days.of_query({}, today=timezone.now().date())
    series = usage.per_day(account_id=account_id, days=span, key_id=key_id)
    under = ApiKey.objects.filter(account_id=account_id, parent=found, revoked_at__isnull=True)
    children = list(under.order_by("-id")[: MOST_CHILDREN + 1])
    context = {
        "place": "keys",
        "key": found,
        "form": KeyForm.of_key(found),
        "standing": standing,
        "running": calls.running_count(account_id, key_ids__contains=[key_id]),
        "calls": calls.recent(account_id, key_id=key_id),
        "children": children[:MOST_CHILDREN],
        "more_children": len(children) > MOST_CHILDREN,
        "may_have_children": standing.frozen_by is None and len(found.ancestor_ids) < MAX_LEVELS - 1,
        "chart": charts.chart(days=span, series={"Spend": series.get("", {})}),
        "title": "Spend per day",
        "own_left": max(0, (found.budget_nanousd or 0) - found.spent_nanousd - found.held_nanousd),
        "measure_label": f"{_percent(found)} percent of its cap spent",
    }
    return render(request, "billing/key.html", context)


def _percent(key: ApiKey) -> int:
    return 100 if not key.budget_nanousd else key.spent_nanousd * 100 // key.budget_nanousd
