#!/bin/sh
# Makes a RabbitMQ user who may do what a bus of one system needs, and nothing else:
#   deploy/rabbitmq_user.sh SYSTEM USER [VIRTUAL_HOST] < password-file
# Without a password on standard input a user is made who has none, for client
# certificates (auth=external).  See docs/how-to/secure-a-broker.md.
set -eu

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    echo "usage: $0 SYSTEM USER [VIRTUAL_HOST] < password-file" >&2
    exit 2
fi
system=$1
user=$2
vhost=${3:-/}
rabbitmqctl=${RABBITMQCTL:-rabbitmqctl}

# A dot in the name is a dot, not any character.
name=$(printf '%s' "$system" | sed 's/[.]/\\./g; s/-/\\-/g')
own="$name\\..*|amq\\.gen.*"

password=
if [ ! -t 0 ]; then
    password=$(cat)
fi
"$rabbitmqctl" add_vhost "$vhost" >/dev/null 2>&1 || true # it may be there
if [ -n "$password" ]; then
    # On standard input, since everybody on the machine can read arguments.
    printf '%s\n' "$password" | "$rabbitmqctl" add_user "$user"
else
    head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' | "$rabbitmqctl" add_user "$user"
    "$rabbitmqctl" clear_password "$user"
fi
# What is sent straight to a queue goes through the default exchange, amq.default.
"$rabbitmqctl" set_permissions -p "$vhost" "$user" "^($own)\$" "^($own|amq\\.default)\$" "^($own)\$"
