# Puts the environment into alertmanager.yml: awk -f render.awk alertmanager.yml >rendered.yml
#
#   ALERT_CONSOLE_URL      the console as Alertmanager reaches it
#   ALERT_CONSOLE_SEEN     the console as people reach it, for the link in an e-mail; the same unless set
#   ALERT_CONSOLE_SECRET   its token, where it asks for one
#   ALERT_WEBHOOK_URL      another webhook; none unless set
#   ALERT_SMTP_URL         smtp://, smtp+starttls:// or smtps://, with user:password@ where needed; no e-mail unless set
#   ALERT_FROM, ALERT_TO   sender, and receivers separated by commas
#
# Any POSIX awk runs it: the one in Alertmanager's image has no more.

function decoded(text,    out, at) {  # %40 is @
    out = ""
    while ((at = index(text, "%")) > 0) {
        out = out substr(text, 1, at - 1) sprintf("%c", hex(substr(text, at + 1, 1)) * 16 + hex(substr(text, at + 2, 1)))
        text = substr(text, at + 3)
    }
    return out text
}

function hex(digit) { return index("0123456789abcdef", tolower(digit)) - 1 }

function quoted(text) {  # inside '...' in YAML
    gsub(/'/, "''", text)
    return text
}

function put(line,    name, marker, at) {
    for (name in value) {
        marker = "${" name "}"
        while ((at = index(line, marker)) > 0)
            line = substr(line, 1, at - 1) quoted(value[name]) substr(line, at + length(marker))
    }
    return line
}

function fail(why) {
    failed = 1
    print "alertmanager.yml: " why >"/dev/stderr"
    exit 1
}

BEGIN {
    value["CONSOLE"] = ENVIRON["ALERT_CONSOLE_URL"]
    value["CONSOLE_SEEN"] = ENVIRON["ALERT_CONSOLE_SEEN"] ? ENVIRON["ALERT_CONSOLE_SEEN"] : ENVIRON["ALERT_CONSOLE_URL"]
    value["CONSOLE_SECRET"] = ENVIRON["ALERT_CONSOLE_SECRET"]
    value["WEBHOOK"] = ENVIRON["ALERT_WEBHOOK_URL"]
    value["FROM"] = ENVIRON["ALERT_FROM"]
    value["TO"] = ENVIRON["ALERT_TO"]
    value["SMARTHOST"] = ""
    if (!value["CONSOLE"]) fail("ALERT_CONSOLE_URL is not set: give the console's address, such as http://console:8080")
    url = ENVIRON["ALERT_SMTP_URL"]
    if (url) {
        if (url !~ /^smtps?(\+starttls)?:\/\/./) fail("ALERT_SMTP_URL must begin with smtp://, smtp+starttls:// or smtps://")
        if (!value["FROM"] || !value["TO"]) fail("ALERT_SMTP_URL is set: set ALERT_FROM and ALERT_TO too")
        scheme = substr(url, 1, index(url, ":") - 1)
        rest = substr(url, length(scheme) + 4)
        sub(/\/.*$/, "", rest)
        while ((at = index(rest, "@")) > 0) {
            login = login (login ? "@" : "") substr(rest, 1, at - 1)
            rest = substr(rest, at + 1)
        }
        at = index(login, ":")
        value["SMTP_USER"] = decoded(at ? substr(login, 1, at - 1) : login)
        value["SMTP_PASSWORD"] = at ? decoded(substr(login, at + 1)) : ""
        port = scheme == "smtps" ? ":465" : scheme == "smtp" ? ":25" : ":587"
        value["SMARTHOST"] = rest (rest ~ /:[0-9]+$/ ? "" : port)
        value["STARTTLS"] = scheme == "smtp+starttls" ? "true" : "false"
    }
}

/^ *# begin / { skipping = value[$3] == "" ; next }
/^ *# end / { skipping = 0 ; next }
!skipping && !failed { print put($0) }
