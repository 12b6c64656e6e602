"""A project for an audience, without controls: `/presentation?project=1`, with `&run=<id>` for one of its runs."""

from ui.presentation import draw_presentation, project_to_present
from ui.session import begin_page

begin_page()
draw_presentation(project_to_present())
