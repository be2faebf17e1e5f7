"""What an operator does to rows of a list or from a row's page: asked first, in words, with the reason; done one by one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final, Generic, TypeVar
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.text import capfirst

from faces.lib.admin import BoundedAdmin
from faces.lib.errors import FacesError

MOST_AT_ONCE: Final = 200
MOST_NAMED: Final = 20
REASON_LENGTH: Final = 200

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Link:
    text: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: `facts` are the consequences, `keep` the safe answer, `button` the verb with its object, `rows` what
    it is about, `instead` milder ways."""

    title: str
    facts: Sequence[str]
    keep: str
    button: str
    rows: Sequence[str] = ()
    instead: Sequence[Link] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb(Generic[Row]):
    """`do` is given a row, the operator's id and the reason; it raises FacesError if it did nothing."""

    name: str
    """In URLs, and as the action's name: freeze."""
    label: str
    """In the list of actions: Freeze accounts."""
    done: str
    """What a row then is: frozen."""
    ask: Callable[[Sequence[Row]], Question]
    do: Callable[[Row, UUID, str], object]
    needs_reason: bool = True
    is_final: bool = False


class VerbsAdmin(BoundedAdmin):
    """Each verb is an action of the list and, under `<id>/<verb>/`, a page of its own. GET asks, POST with the answer does."""

    verbs: ClassVar[tuple[Verb[Any], ...]] = ()

    def may(self, request: HttpRequest, row: Any = None) -> bool:
        """Whether the operator may do these verbs at all, or to this row."""
        raise NotImplementedError

    def name_of(self, row: Any) -> str:
        """What a row is called in messages."""
        return str(row)

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        own = [
            path(
                f"<path:object_id>/{verb.name}/",
                self.admin_site.admin_view(partial(self._page, verb=verb)),
                name=f"{name}_{verb.name}",
            )
            for verb in self.verbs
        ]
        return [*own, *super().get_urls()]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = dict(super().get_actions(request))
        if self.may(request):
            actions |= {verb.name: (partial(_action, verb=verb), verb.name, verb.label) for verb in self.verbs}
        return actions

    def _page(self, request: HttpRequest, object_id: str, verb: Verb[Any]) -> HttpResponse:
        row = self.get_object(request, object_id)
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        if not self.may(request, row):
            raise PermissionDenied
        back = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk])
        return self.answer(request, verb, [row], back, from_list=False)

    def answer(
        self, request: HttpRequest, verb: Verb[Any], rows: Sequence[Any], back: str, *, from_list: bool
    ) -> HttpResponse:
        """The page that asks, or what its answer leads to."""
        reason, problem = request.POST.get("reason", "").strip(), ""
        if request.method == "POST" and "confirmed" in request.POST:
            problem = _problem(verb, reason)
            if not problem:
                self._do(request, verb, rows, reason)
                return HttpResponseRedirect(back)
        question = verb.ask(rows)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": question.title,
            "question": question,
            "named": question.rows[:MOST_NAMED],
            "more": max(0, len(question.rows) - MOST_NAMED),
            "verb": verb,
            "back": back,
            "reason": reason,
            "reason_length": REASON_LENGTH,
            "problem": problem,
            "chosen": [str(row.pk) for row in rows] if from_list else [],
        }
        return TemplateResponse(request, "admin/confirm.html", context, status=400 if problem else 200)

    def _do(self, request: HttpRequest, verb: Verb[Any], rows: Sequence[Any], reason: str) -> None:
        done = []
        for row in rows:
            if not self.may(request, row):
                self.message_user(
                    request, f"{self.name_of(row)}: only a superuser may do this; nothing was done", messages.ERROR
                )
                continue
            try:
                verb.do(row, UUID(str(request.user.pk)), reason)
            except FacesError as error:
                self.message_user(request, f"{self.name_of(row)}: {error.detail}", messages.ERROR)
            else:
                done.append(row)
        if len(done) == 1:
            self.message_user(request, f"{self.name_of(done[0])} is {verb.done}", messages.SUCCESS)
        elif done:
            self.message_user(request, f"{len(done)} {self.opts.verbose_name_plural} are {verb.done}", messages.SUCCESS)


def _action(admin: VerbsAdmin, request: HttpRequest, chosen: QuerySet[Any], *, verb: Verb[Any]) -> HttpResponse | None:
    rows = list(chosen[: MOST_AT_ONCE + 1])
    if len(rows) > MOST_AT_ONCE:
        admin.message_user(request, f"Choose at most {MOST_AT_ONCE} at once; nothing was done", messages.ERROR)
        return None
    return admin.answer(request, verb, rows, request.get_full_path(), from_list=True)


def _problem(verb: Verb[Any], reason: str) -> str:
    if verb.needs_reason and not reason:
        return f"{capfirst(verb.name)} needs a reason: whoever looks at this later wants to know why. Nothing was done."
    if len(reason) > REASON_LENGTH or not (reason.isprintable() or not reason):
        return f"Write the reason in one line of at most {REASON_LENGTH} characters. Nothing was done."
    return ""
