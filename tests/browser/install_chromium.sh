#!/bin/sh
# Sees to a Chromium for the browser tests; they are skipped, and say so, where there is none.
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
ls "${PLAYWRIGHT_BROWSERS_PATH:-$HOME/.cache/ms-playwright}"/chromium-* >/dev/null 2>&1 && exit 0
echo "No Chromium here; installing one for the browser tests." >&2
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium; } \
        >/dev/null && exit 0
fi
"${BIN:?the folder of the python that has playwright}/python" -m playwright install chromium && exit 0
echo "Chromium could not be installed: browser tests will be skipped. Install the package" \
    "'chromium' of your system, or run '$BIN/python -m playwright install chromium'." >&2
exit 0
