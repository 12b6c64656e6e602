"""The wordmark: a scale at rest, set back to zero. One mid tone that light and dark backgrounds both carry."""

_MARK = (
    '<g fill="none" stroke="#2B8CA3" stroke-width="2.6" stroke-linecap="round">'
    '<path d="M4 9h20M14 9v14M8 23h12"/><circle cx="14" cy="5" r="1.6" fill="#2B8CA3" stroke="none"/>'
    '<path d="M4 9l-2.6 7h5.2zM24 9l-2.6 7h5.2z" stroke-width="1.6" stroke-linejoin="round"/></g>'
)
ICON = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 28 28">{_MARK}</svg>'
WORDMARK = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="92" height="28" viewBox="0 0 92 28" role="img" aria-label="Tare">'
    f'{_MARK}<text x="36" y="21" font-family="Source Sans, Source Sans Pro, Helvetica, Arial, sans-serif" '
    'font-size="21" font-weight="650" letter-spacing="0.4" fill="#2B8CA3">Tare</text></svg>'
)
