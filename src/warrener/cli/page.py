"""`warrener page`: the link to the web page.

It opens no browser: the link would be in that one's arguments, which everybody here can read.
"""

import typer

from warrener.cli.common import (
    FAILED,
    CliError,
    JsonOption,
    StateOption,
    folder_of,
    print_json,
    shown,
)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("page")(page)


def page(
    context: typer.Context,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the link to the web page of the running cluster.

    Whoever has the link sees what there is to see of the cluster: keep it as a
    password. It stays the same from one start to the next; it is another one
    once page/token in the state folder was removed before a start.

    Examples:

      warrener page
      warrener page --json | jq -r .link
    """
    from warrener.control.client import Client
    from warrener.control.operations import STATUS, StatusRequest
    from warrener.control.page import TOKEN_FILE, page_folder, page_link

    folder = folder_of(context, state)
    with Client.connect(folder) as client:
        url = client.call(STATUS, StatusRequest(queues=False)).page_url
    if not url:
        raise CliError(
            f"no page is served; {shown(folder.daemon_log)} says why (page_not_served)", FAILED
        )
    token_file = page_folder(folder.path) / TOKEN_FILE
    try:
        link = page_link(folder.path, url)
    except OSError as error:
        raise CliError(f"{shown(token_file)} can't be read: {error.strerror}", FAILED) from None
    if as_json:
        print_json({"url": url, "link": link, "token_file": str(token_file)})
    else:
        typer.echo(link)
