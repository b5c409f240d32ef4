#!/bin/sh
# Sees to what the browser tests drive: Chromium, Firefox, WebKit, and nginx to stand behind.
# Without root they are skipped, and name the package that they miss.
missing=""
need() { # need PACKAGE COMMAND...: any of the commands will do
    package=$1
    shift
    for name in "$@"; do
        command -v "$name" >/dev/null 2>&1 && return
    done
    missing="$missing $package"
}
ls "${PLAYWRIGHT_BROWSERS_PATH:-$HOME/.cache/ms-playwright}"/chromium-* >/dev/null 2>&1 ||
    need chromium chromium chromium-browser google-chrome
need firefox-esr firefox-esr
need webkit2gtk-driver WebKitWebDriver
need xvfb Xvfb
need xdotool xdotool
need nginx-light nginx
[ -z "$missing" ] && exit 0

echo "For the browser tests:$missing" >&2
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then # installing nginx must not start it
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    # shellcheck disable=SC2086 # a list of names
    {
        apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
                $missing fonts-dejavu-core fonts-liberation
    } >/dev/null && exit 0
fi
case $missing in
*chromium*) "${BIN:-.venv/bin}/python" -m playwright install chromium ;;
esac
echo "Not all could be installed; tests that need them are skipped. Install these packages of your" \
    "system:$missing" >&2
exit 0
