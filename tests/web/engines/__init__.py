"""The browsers the page is tested in, each behind the same few methods: `Engine` and `Tab`."""
