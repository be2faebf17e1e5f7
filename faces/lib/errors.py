"""The one exception every domain module derives from, so that each face (DRF, HTML, gateway) renders errors in one place."""

from collections.abc import Mapping

Detail = str | dict[str, list[str]]


class FacesError(Exception):
    """A refusal with an HTTP meaning.

    `detail` is what the caller reads: a sentence, or `{"field": ["sentence", …]}`. `code` is a stable word for programs,
    `status` the HTTP status, `headers` what the answer must carry beside them (RFC 9110 §10.2.3 Retry-After and ours).
    """

    status = 500
    code = "error"
    detail: Detail = "Something went wrong"

    def __init__(self, detail: Detail | None = None, *, headers: Mapping[str, str] | None = None) -> None:
        if detail is not None:
            self.detail = detail
        self.headers: dict[str, str] = dict(headers or {})
        super().__init__(self.detail)

    @property
    def sentence(self) -> str:
        """What the caller reads as plain text, without the names of fields."""
        if isinstance(self.detail, str):
            return self.detail
        return " ".join(sentence for sentences in self.detail.values() for sentence in sentences)


class InvalidInput(FacesError):
    """The request's content is wrong: 400, naming the field where there is one."""

    status = 400
    code = "invalid_input"
    detail = "The request is not valid"
