#!/bin/sh
# Writes a password for RabbitMQ, one for Redis and the token of the store server's first
# user into the volumes under /passwords: the one that was given, else one at random.  One
# that is there stays: RabbitMQ has it in its own data.
set -eu

# The containers that read a password run as other users, and mount only what they need.
umask 022

keep() {
    file=${PASSWORDS_FOLDER:-/passwords}/$1/password
    if [ -s "$file" ]; then
        if [ -n "$2" ] && [ "$2" != "$(cat "$file")" ]; then
            echo "the password given for $1 is not the one that it was first started with, which stays;" \
                "for a new one, remove the volumes or see docs/how-to/run-with-compose.md" >&2
            exit 1
        fi
    elif [ -n "$2" ]; then
        printf '%s' "$2" >"$file"
    else
        head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$file"
    fi
}

keep rabbitmq "$RABBITMQ_PASSWORD"
keep redis "$REDIS_PASSWORD"
keep store-server "$STORE_TOKEN"
