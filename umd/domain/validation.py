"""The rules for a request that its types cannot say."""

from umd.domain import naming, selectors, urls
from umd.domain.options import DownloadRequest
from umd.errors import FieldError, InvalidInput


def check(request: DownloadRequest) -> None:
    """Hold a decoded request to the rules. Raises `InvalidInput` with one entry for each field at fault."""
    problems = {
        "url": urls.problem(request.url),
        "custom_format": selectors.problem(request.custom_format) if request.custom_format else None,
        "path_template": naming.template_problem(request.path_template),
        "webhook_url": urls.problem(request.webhook_url) if request.webhook_url else None,
    }
    errors = [FieldError(f"/{field}", problem) for field, problem in problems.items() if problem]
    if errors:
        raise InvalidInput(*errors)
