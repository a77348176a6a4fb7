package chat

// Words says what a line of the conversation can begin with that is not for the agent, and
// which keys do something. It is for the help of `sessionhub chat`.
const Words = `In the conversation:
  /steer TEXT              give TEXT to the running turn, or put it in front of what waits
  /now TEXT                stop the turn, and send TEXT next
  /queue                   list what waits; /queue edit N TEXT, /queue remove|up|down|now N,
                           /queue hold|send|discard
  /refuse WHY              say no to the open question, with a reason
  /options                 list the options of the agent; /options ID VALUE sets one,
                           and so do /mode NAME and /model NAME
  /commands                list the agent's own commands
  /usage                   say what the session has used
  /rename NAME             name the session
  /decline, /close         refuse a form, or close it; /skip leaves a field out, /back goes back
  //WORD                   send a message that begins with /WORD to the agent
  Ctrl-C, Ctrl-J, Ctrl-D   stop the turn and hold what waits; break the line; leave
`
