"""What REST and the control API share: handlers that read bodies with a bound and answer problem+json."""
